import asyncio

from forestay.assembly.supervision import Supervisor


async def test_work_that_crashes_is_counted_and_begun_again() -> None:
    supervisor, attempts, recovered = Supervisor(restart_s=0.0), 0, asyncio.Event()

    async def work() -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise RuntimeError("defect")
        recovered.set()
        await asyncio.Event().wait()

    supervisor.start("work", work)
    async with asyncio.timeout(5):
        await recovered.wait()
    await supervisor.stop_all()
    assert supervisor.crashes == {"work": 2}


async def test_stopping_cancels_and_frees_the_name() -> None:
    supervisor, cancelled = Supervisor(), 0

    async def work() -> None:
        nonlocal cancelled
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled += 1
            raise

    for _ in range(2):
        supervisor.start("work", work)
        await asyncio.sleep(0)
        await supervisor.stop("work")
    await supervisor.stop("unknown")
    assert cancelled == 2
