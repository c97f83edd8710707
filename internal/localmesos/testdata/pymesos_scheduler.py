"""Runs one task to its end and kills another, with PyMesos.

usage: pymesos_scheduler.py HOST:PORT
"""
import sys
import threading

from addict import Dict
from pymesos import MesosSchedulerDriver, Scheduler


class Test(Scheduler):
    def __init__(self):
        self.tasks = [("hello", "echo hello from pymesos"), ("endless", "sleep 1000")]
        self.ended, self.over = {}, threading.Event()

    def registered(self, driver, framework_id, master_info):
        print("registered", framework_id.value, master_info.version, flush=True)

    def resourceOffers(self, driver, offers):
        filters = {"refuse_seconds": 0.1}
        for offer in offers:
            if not self.tasks:
                driver.declineOffer(offer.id, filters)
                continue
            name, command = self.tasks.pop(0)
            task = Dict()
            task.name = task.task_id.value = name
            task.agent_id.value = offer.agent_id.value
            task.command.value = command
            task.resources = [
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.5}},
                {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
            ]
            driver.launchTasks(offer.id, [task], filters)

    def statusUpdate(self, driver, update):
        name, state = update.task_id.value, update.state
        print(name, state, update.get("message", ""), flush=True)
        if name == "endless" and state == "TASK_RUNNING":
            driver.killTask(update.task_id)
        if state in ("TASK_FINISHED", "TASK_KILLED", "TASK_FAILED", "TASK_ERROR", "TASK_LOST"):
            self.ended[name] = state
        if len(self.ended) == 2:
            self.over.set()

    def error(self, driver, message):
        print("error", message, flush=True)
        self.over.set()


def main():
    scheduler = Test()
    framework = {"user": "root", "name": "pymesos", "hostname": "localhost"}
    driver = MesosSchedulerDriver(scheduler, Dict(framework), sys.argv[1], use_addict=True)
    driver.start()
    if not scheduler.over.wait(40):
        sys.exit("not in time: %r" % scheduler.ended)
    want = {"hello": "TASK_FINISHED", "endless": "TASK_KILLED"}
    if scheduler.ended != want:
        sys.exit("%r, want %r" % (scheduler.ended, want))
    print("done", flush=True)
    driver.stop()
    driver.join()


main()
