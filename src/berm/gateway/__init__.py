"""Carries traffic to the ports of sandboxes, on the same TCP port as the REST API."""
