"""Write manifests: a plan and how it is to be deployed come in, the objects that make it true go out."""
