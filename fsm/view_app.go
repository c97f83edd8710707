package fsm

// App is the application with this id.
func (v *View) App(id string) (*App, bool) { return v.t.apps.Get(id) }

// Apps visits the applications by id.
func (v *View) Apps(visit func(*App) bool) {
	v.t.apps.Scan(func(_ string, a *App) bool { return visit(a) })
}

// Executor is one executor of an application, as long as it is kept.
func (v *View) Executor(appID, taskID string) (*Executor, bool) { return v.t.executor(appID, taskID) }

// Executors visits the executors of an application that are kept, by number.
func (v *View) Executors(appID string, visit func(*Executor) bool) { v.t.executorsOf(appID, visit) }

// Live visits the executors of an application that are not over, by number.
func (v *View) Live(appID string, visit func(*Executor) bool) { v.t.liveOf(appID, visit) }

// App is the application with this id, without the cost of a View.
func (s *State) App(id string) (*App, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.t.apps.Get(id)
}

// Executor is one executor of an application, without the cost of a View.
func (s *State) Executor(appID, taskID string) (*Executor, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.t.executor(appID, taskID)
}

func (t *trees) executor(appID, taskID string) (*Executor, bool) {
	n, valid := executorNumber(taskID)
	if !valid {
		return nil, false
	}
	return t.executors.Get(executorKey(appID, n))
}

func (t *trees) executorsOf(appID string, visit func(*Executor) bool) {
	scanApp(t.executors.Ascend, appID, visit)
}

func (t *trees) liveOf(appID string, visit func(*Executor) bool) {
	scanApp(t.live.Ascend, appID, visit)
}

func scanApp(ascend func(string, func(string, *Executor) bool), appID string, visit func(*Executor) bool) {
	ascend(executorKey(appID, 0), func(_ string, e *Executor) bool { return e.AppID == appID && visit(e) })
}
