"""A registry in memory, as for promotions."""

from promotion.conftest import environment, fresh_store, home, quick_office, scores, template, work

__all__ = ["environment", "fresh_store", "home", "quick_office", "scores", "template", "work"]
