"""An engine without a model, with the speed and the cache of one."""
