"""Live geolocation tracking: a server, and the SDK of the devices that send to it."""

__version__ = "0.1.0"
