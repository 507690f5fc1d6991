"""Daily bars in, next-session forecasts with honest intervals and scores out."""
