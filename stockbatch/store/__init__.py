"""Every query, one module per concern: functions that take an open `db` and never commit."""
