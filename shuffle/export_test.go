package shuffle

import "github.com/ha-dispatcher/ha-dispatcher/shuffle/registry"

// Register registers an executor without a connection.
func Register(s *Service, app, id string, dirs []string) (*registry.Executor, error) {
	return s.registry.RegisterExecutor(app, id, dirs, 64, "")
}
