"""The notebook: magics, cells made modules, widgets."""
