"""The networks: features in, trained weights and quantiles out."""
