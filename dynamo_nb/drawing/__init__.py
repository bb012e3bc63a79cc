"""Pictures of graphs as SVG, DOT and text, and the elements of SVG that plots share."""
