"""The code that a registered model ships with: one file a recipe, importing neither torch nor this project."""
