"""Hutong: a standards-based interoperability server for imaging AI."""

__version__ = "0.1.0"
