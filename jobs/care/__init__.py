"""Care of the database: retention, backups, exports."""
