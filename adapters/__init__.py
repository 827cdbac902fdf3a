"""Everything that touches the outside: channels in, channels out."""
