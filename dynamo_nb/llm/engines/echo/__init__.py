"""An engine without a model, with the times and the cache of one."""
