package backend

import (
	"fmt"
	"hash/fnv"
	"path"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/fsm"
	"github.com/ha-dispatcher/ha-dispatcher/mesosutil"
)

// AgentExecutorSpec says for which agent an executor of fine-grained mode is.
type AgentExecutorSpec struct {
	AppID      string // the framework id, which is Spark's application id
	ExecutorID string // the agent id
	Host       string // of the agent, as the offer names it
}

// ExecutorBuilder describes the Mesos executor of an agent: its command, data,
// container. For the same agent it has to give the same each time, on all nodes,
// because Mesos takes no task that names an executor differently from the one that
// runs; ids and resources are filled in by the backend.
type ExecutorBuilder func(AgentExecutorSpec) (*mesos.ExecutorInfo, error)

const fineExecutorClass = "org.apache.spark.executor.MesosExecutorBackend"

// AgentExecutor describes the executor that Spark's fine-grained backend starts.
func (s *Settings) AgentExecutor(e AgentExecutorSpec) (*mesos.ExecutorInfo, error) {
	variables, err := s.variables(ExecutorSpec{AppID: e.AppID, ExecutorID: e.ExecutorID})
	if err != nil {
		return nil, err
	}
	value, uris, err := s.fineCommandLine()
	if err != nil {
		return nil, err
	}
	return &mesos.ExecutorInfo{
		Command: &mesos.CommandInfo{
			Value: &value, URIs: append(uris, mesosutil.FetchURIs(s.conf.List("spark.mesos.uris"), false)...),
			Environment: &mesos.Environment{Variables: variables},
		},
		Data: s.fineData, Container: s.container.Info(),
	}, nil
}

func (s *Settings) fineCommandLine() (string, []mesos.CommandInfo_URI, error) {
	home := s.conf.Text(homeKey, s.context.SparkHome)
	if home == "" { // Spark wants it even where it is not used
		return "", nil, &InvalidError{Key: homeKey, Reason: "Executor Spark home `spark.mesos.executor.home` is not set!"}
	}
	line, uris, err := s.packageLine(fineExecutorClass, false)
	if line != "" || err != nil {
		return line, uris, err
	}
	script := path.Join(home, "bin/spark-class")
	if mesosutil.ShellEscape(script) != script {
		return "", nil, &InvalidError{Key: homeKey, Value: home, Reason: "this path is not quoted, so it must hold nothing that a shell takes apart"}
	}
	return s.libraryPath() + " " + script + " " + fineExecutorClass, nil, nil
}

// agentExecutor is the executor of an agent as each of its tasks names it, and a
// fingerprint of it without its resources.
func (s *Settings) agentExecutor(build ExecutorBuilder, e AgentExecutorSpec, resources []mesos.Resource) (*mesos.ExecutorInfo, uint64, error) {
	info, err := build(e)
	if err != nil {
		return nil, 0, err
	}
	if info == nil {
		return nil, 0, fmt.Errorf("the executor of agent %s is not described", e.ExecutorID)
	}
	out := *info
	out.ExecutorID, out.Resources = mesos.ExecutorID{Value: e.ExecutorID}, nil
	if out.Type == mesos.ExecutorInfo_UNKNOWN { // Spark leaves it out, which means the same
		out.Type = mesos.ExecutorInfo_CUSTOM
	}
	data, err := out.Marshal()
	if err != nil {
		return nil, 0, fmt.Errorf("encode the executor of agent %s: %w", e.ExecutorID, err)
	}
	h := fnv.New64a()
	_, _ = h.Write(data)
	out.Resources = resources
	return &out, h.Sum64(), nil
}

// encodeResources and decodeResources are for the log, so that every leader names
// the executor with the resources that it was started with.
func encodeResources(list []mesos.Resource) ([][]byte, error) {
	out := make([][]byte, len(list))
	for i := range list {
		var err error
		if out[i], err = list[i].Marshal(); err != nil {
			return nil, fmt.Errorf("encode %s: %w", list[i].Name, err)
		}
	}
	return out, nil
}

func decodeResources(x *fsm.AgentExecutor) ([]mesos.Resource, error) {
	out := make([]mesos.Resource, len(x.Resources))
	for i, data := range x.Resources {
		if err := out[i].Unmarshal(data); err != nil {
			return nil, fmt.Errorf("decode the resources of the executor on %s: %w", x.AgentId, err)
		}
	}
	return out, nil
}
