"""The ledger: limits, leases, holds, prices; the books."""
