"""Drawings: a graph as SVG, DOT and text, and the SVG elements that plots share."""
