"""Measures a running berm through the official SDK, beside the other ways of starting a sandbox here."""
