"""berm: sandboxes for untrusted code on a Linux machine you own, spoken to in the E2B protocol."""

__version__ = "0.1.0"
