"""The edges: resources as users write them, files as clusters print them, and what both become."""
