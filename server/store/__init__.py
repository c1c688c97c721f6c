"""What is kept: tables, units of work, packs of bytes, jobs, migrations. Rows leave as frozen values."""
