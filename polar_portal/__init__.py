"""Invoices, receipts and billing details of Polar orders inside your own Django site."""

__version__ = "0.1.0"
