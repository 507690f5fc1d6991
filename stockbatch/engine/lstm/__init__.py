"""The LSTM (Hochreiter & Schmidhuber, "Long short-term memory", Neural Computation 9, 1997)."""
