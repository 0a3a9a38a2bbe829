"""Draw characters from the fonts that matplotlib ships."""
