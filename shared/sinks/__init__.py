"""Code that both sinks share, so that they behave alike: loop, handling of refused data, names, types, retention."""
