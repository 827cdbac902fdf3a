"""Who is who, pure."""
