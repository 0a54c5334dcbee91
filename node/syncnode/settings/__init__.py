"""What people declare: this site, the network, hooks; read from TOML and checked."""
