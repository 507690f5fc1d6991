"""What people look at: plots, reports, the dashboard."""
