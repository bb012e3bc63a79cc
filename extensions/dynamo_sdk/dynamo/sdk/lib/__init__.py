"""Where the SDK's document and upstream's first releases import from."""
