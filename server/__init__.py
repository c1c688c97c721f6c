"""Hutong: a standards-based interoperability server for imaging AI."""
