"""Root filesystems for template layers: pulled from OCI registries or bootstrapped from Debian packages."""
