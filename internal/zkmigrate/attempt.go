package zkmigrate

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
)

func taskID(driver string, attempt uint32) string { return fsm.TaskID(driver, attempt) }

// attemptOf is the number of the attempt that a task id of a driver names.
// Before 2.3 every attempt had the driver's id.
func attemptOf(driver, task string, err error) (uint32, error) {
	if err != nil {
		return 0, err
	}
	if task == driver {
		return 0, nil
	}
	suffix, ofDriver := strings.CutPrefix(task, driver+"-retry-")
	n, parseErr := strconv.ParseUint(suffix, 10, 20)
	if !ofDriver || parseErr != nil || n == 0 {
		return 0, fmt.Errorf("task id %q names no attempt of driver %s", task, driver)
	}
	return uint32(n), nil
}
