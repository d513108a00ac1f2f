"""Reports of stored results: figures, tables and a static HTML page. Nothing is simulated here."""
