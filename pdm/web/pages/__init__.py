"""The pages that people see: what each shows, in words and charts, and the routes that render them."""

from pdm.web.pages.router import make_router, page_of_nothing

__all__ = ["make_router", "page_of_nothing"]
