"""Allocation of rows: next fit, so that memory freed long ago is reused first and waits are short."""


class OutOfMemoryError(ValueError):
    """No free run of rows is long enough."""


class Arena:
    """Rows ``start`` to ``start + rows`` of a memory, given out in runs.

    A run freed by the program's order may still be in use by a slower unit; the tokens see to that. Next fit
    makes it rare, because the whole free space is used before a row comes round again.
    """

    def __init__(self, name: str, start: int, rows: int) -> None:
        self.name = name
        self.start = start
        self.end = start + rows
        self._next = start
        self._live: dict[int, int] = {}

    @property
    def used(self) -> int:
        """The first row after the last run in use."""
        return max((address + rows for address, rows in self._live.items()), default=self.start)

    def take(self, rows: int) -> int:
        """The first row of a run of ``rows`` rows.

        Raises
        ------
        OutOfMemoryError
            If no free run is long enough.
        """
        address = self._next
        wrapped = False
        while True:
            if address + rows > self.end:
                if wrapped or rows > self.end - self.start:
                    raise OutOfMemoryError(
                        f"{self.name}: {rows} rows wanted, {self.end - self.start} in all, "
                        f"{sum(self._live.values())} in use"
                    )
                address, wrapped = self.start, True
            blocker = next((a + n for a, n in self._live.items() if a < address + rows and address < a + n), None)
            if blocker is None:
                break
            address = blocker
        self._live[address] = rows
        self._next = address + rows
        return address

    def free(self, address: int) -> None:
        """Give back the run that starts at ``address``."""
        del self._live[address]
