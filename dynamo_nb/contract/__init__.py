"""Contracts between services: calls in the source of a service, compared with what their targets accept and return.

The calls are read from the modules that workers import. Nothing is executed. A mismatch is reported only if the call
certainly fails. Other code, such as `getattr(self.backend, name)`, is ignored.
"""

from dynamo_nb.contract.check import Mismatch, ServiceEdges, mismatches, untested_uses
from dynamo_nb.contract.differences import changed_names

__all__ = ["Mismatch", "ServiceEdges", "changed_names", "mismatches", "untested_uses"]
