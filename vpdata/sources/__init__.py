"""Where videos come from: folders, globs, lists, http(s), s3 and gs."""

from vpdata.sources.input import Input as Input
from vpdata.sources.settings import HostCredential as HostCredential
from vpdata.sources.settings import SourceSettings as SourceSettings
