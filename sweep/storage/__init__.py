"""Where experiments are kept: a local folder, NFS, or object storage; one driver at a time writes."""

from sweep.storage.folder import Folder, Location, split_uri

__all__ = ["Folder", "Location", "split_uri"]
