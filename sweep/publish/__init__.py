"""A configuration's trained prompts for others: all seeds as revisions of one repository, under a model card."""

from sweep.publish.options import HubOptions
from sweep.publish.publishing import publish

__all__ = ["HubOptions", "publish"]
