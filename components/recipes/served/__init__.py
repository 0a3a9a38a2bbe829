"""The code that a registered model ships with: one file a recipe, importing nothing of this project; torch where it samples."""
