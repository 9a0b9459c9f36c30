"""What sandboxes reach outside: the firewall's part of it, and the host's proxy, which knows names."""
