"""Contracts between services: calls in the source of a service, compared with what their targets accept and return.

Everything is read from the modules that workers import, and nothing is executed. Code that cannot be read, such as
`getattr(self.backend, name)`, is passed over: a mismatch is reported only where the call is certain to fail.
"""

from dynamo_nb.contract.check import Mismatch, ServiceEdges, mismatches, untested_uses
from dynamo_nb.contract.differences import changed_names

__all__ = ["Mismatch", "ServiceEdges", "changed_names", "mismatches", "untested_uses"]
