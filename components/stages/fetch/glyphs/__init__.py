"""Characters drawn from the fonts that matplotlib ships."""
