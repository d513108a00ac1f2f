"""The exact network solver."""
