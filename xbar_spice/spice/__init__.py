"""From crossbars to SPICE text."""
