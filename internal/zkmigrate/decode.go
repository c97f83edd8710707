package zkmigrate

import (
	"errors"
	"fmt"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/ha-dispatcher/ha-dispatcher/dispatcher/rest/api"
	"github.com/ha-dispatcher/ha-dispatcher/internal/javaser"
)

const (
	classDescription = "org.apache.spark.deploy.mesos.MesosDriverDescription"
	classSubmission  = "org.apache.spark.scheduler.cluster.mesos.MesosClusterSubmissionState"
	classRetry       = "org.apache.spark.scheduler.cluster.mesos.MesosClusterRetryState"
)

// object is a Java object of a class whose fields are known. The first field
// that is missing or of another kind is remembered and makes the rest moot, so
// that a decoder reads like the class it decodes.
type object struct {
	*javaser.Object
	err *error
}

func objectOf(v javaser.Value, class string, err *error) object {
	o, isObject := v.(*javaser.Object)
	if *err == nil && (!isObject || o.Class.Name != class) {
		*err = fmt.Errorf("expected an object of %s, found %s", class, javaser.ClassName(v))
	}
	if *err != nil {
		o = nil
	}
	return object{o, err}
}

// get is the first of the fields that the class has: fields change their names
// from version to version.
func (o object) get(names ...string) javaser.Value {
	for _, name := range names {
		if v, found := o.Field(name); found {
			return v
		}
	}
	o.fail("", errors.New("there is no field "+strings.Join(names, " or ")))
	return nil
}

func (o object) fail(field string, err error) {
	if *o.err != nil || err == nil {
		return
	}
	if field != "" {
		err = fmt.Errorf("field %s: %w", field, err)
	}
	*o.err = err
}

func field[T any](o object, names ...string) T {
	v := o.get(names...)
	out, right := v.(T)
	if !right {
		o.fail(names[0], fmt.Errorf("it is %s", javaser.ClassName(v)))
	}
	return out
}

func (o object) date(name string) int64 {
	t, err := javaser.Time(o.get(name))
	o.fail(name, err)
	return t.UnixMilli()
}

func (o object) texts(name string) []string {
	out, err := javaser.StringSlice(o.get(name))
	o.fail(name, err)
	return out
}

func (o object) texted(names ...string) map[string]string {
	out, err := javaser.StringMap(o.get(names...))
	o.fail(names[0], err)
	return out
}

// message is the encoding of a protobuf field.
func (o object) message(class string, names ...string) []byte {
	out, err := javaser.ProtobufBytes(o.get(names...), class)
	o.fail(names[0], err)
	return out
}

func (o object) option(name string) javaser.Value {
	v, _, err := javaser.Option(o.get(name))
	o.fail(name, err)
	return v
}

// retry is a MesosClusterRetryState.
type retry struct {
	retries, waitSeconds int32
	nextMs               int64
	last                 *api.ImportStatus
	lastTask             string
}

// description is a MesosDriverDescription as far as it matters.
type description struct {
	driver api.ImportDriver // without an attempt
	retry  *retry
}

func decode(data []byte) (javaser.Value, error) { return javaser.Decode(data, javaser.Limits{}) }

// frameworkID decodes the node of that name.
func frameworkID(data []byte) (string, error) {
	v, err := decode(data)
	if err != nil {
		return "", err
	}
	id, isText := v.(string)
	if !isText || id == "" {
		return "", fmt.Errorf("it is %s and not a text", javaser.ClassName(v))
	}
	return id, nil
}

func describe(v javaser.Value, err *error) description {
	o := objectOf(v, classDescription, err)
	command := objectOf(o.get("command"), "org.apache.spark.deploy.Command", err)
	var d description
	d.driver = api.ImportDriver{
		ID:          field[string](o, "submissionId"),
		SubmittedMs: o.date("submissionDate"),
		Submission: api.ImportSubmission{
			AppResource:          field[string](o, "jarUrl"),
			MainClass:            field[string](command, "mainClass"),
			AppArgs:              command.texts("arguments"),
			EnvironmentVariables: command.texted("environment"),
			SparkProperties:      properties(o, err),
		},
		Cores:     field[float64](o, "cores"),
		MemoryMiB: int64(field[int32](o, "mem")),
		Supervise: field[bool](o, "supervise"),
	}
	if state := o.option("retryState"); state != nil {
		d.retry = retryOf(state, err)
	}
	return d
}

// properties are those of the SparkConf that the description holds. Scala 2.11
// mangles the name of a private field.
func properties(o object, err *error) map[string]string {
	conf := objectOf(o.get("conf"), "org.apache.spark.SparkConf", err)
	return conf.texted("settings", "org$apache$spark$SparkConf$$settings")
}

func retryOf(v javaser.Value, err *error) *retry {
	o := objectOf(v, classRetry, err)
	r := &retry{
		retries:     field[int32](o, "retries"),
		waitSeconds: field[int32](o, "waitTime"),
		nextMs:      o.date("nextRetry"),
	}
	var status mesos.TaskStatus
	o.fail("lastFailureStatus", status.Unmarshal(o.message("TaskStatus", "lastFailureStatus")))
	if *err != nil {
		return nil
	}
	r.lastTask = status.TaskID.Value
	r.last = statusOf(&status)
	return r
}

// statusOf keeps what is of use later. A status that was acted on is not
// acknowledged again, but its UUID tells a repetition.
func statusOf(s *mesos.TaskStatus) *api.ImportStatus {
	out := &api.ImportStatus{
		State: int32(s.GetState()), Message: strings.ToValidUTF8(s.GetMessage(), "\uFFFD"),
		AgentID: s.GetAgentID().GetValue(), ExecutorID: s.GetExecutorID().GetValue(),
		Timestamp: s.GetTimestamp(), UUID: s.UUID,
	}
	if s.Source != nil {
		source := int32(*s.Source)
		out.Source = &source
	}
	if s.Reason != nil {
		reason := int32(*s.Reason)
		out.Reason = &reason
	}
	return out
}

// decodeQueued reads a node of driverQueue.
func decodeQueued(n Node) (d api.ImportDriver, err error) {
	v, err := decode(n.Data)
	if err != nil {
		return d, err
	}
	desc := describe(v, &err)
	d = desc.driver
	d.State = "QUEUED"
	return d, named(n, d, err)
}

// decodeRetrying reads a node of retryList. A driver with n failures in a row
// has had its attempts 0 to n-1.
func decodeRetrying(n Node) (d api.ImportDriver, err error) {
	v, err := decode(n.Data)
	if err != nil {
		return d, err
	}
	desc := describe(v, &err)
	d = desc.driver
	if err == nil && (desc.retry == nil || desc.retry.retries < 1) {
		err = errors.New("it waits for a retry but has no failure")
	}
	if err != nil {
		return d, err
	}
	r := desc.retry
	d.State, d.Attempt = "RETRYING", uint32(r.retries-1)
	d.TaskID = taskID(d.ID, d.Attempt)
	d.Retries, d.WaitSeconds, d.NotBeforeMs, d.Last = r.retries, r.waitSeconds, r.nextMs, r.last
	d.AgentID = r.last.AgentID
	return d, named(n, d, err)
}

// decodeLaunched reads a node of launchedDrivers.
func decodeLaunched(n Node) (d api.ImportDriver, err error) {
	v, err := decode(n.Data)
	if err != nil {
		return d, err
	}
	o := objectOf(v, classSubmission, &err)
	desc := describe(o.get("driverDescription"), &err)
	d = desc.driver
	d.State = "RUNNING"
	var task mesos.TaskID
	var agent mesos.AgentID
	o.fail("taskId", task.Unmarshal(o.message("TaskID", "taskId")))
	o.fail("agentId", agent.Unmarshal(o.message("SlaveID", "agentId", "slaveId")))
	d.TaskID, d.AgentID = task.Value, agent.Value
	d.LaunchedMs = o.date("startDate")
	d.FrameworkID = field[string](o, "frameworkId")
	if r := desc.retry; r != nil {
		d.Retries, d.WaitSeconds = r.retries, r.waitSeconds
	}
	if d.Attempt, err = attemptOf(d.ID, d.TaskID, err); err != nil {
		return d, err
	}
	return d, named(n, d, err)
}

// named checks that a node holds the driver that it is named after.
func named(n Node, d api.ImportDriver, err error) error {
	if err == nil && d.ID != n.ID {
		return fmt.Errorf("the node of %s holds driver %q", n.ID, d.ID)
	}
	return err
}

// instant prints Unix milliseconds.
func instant(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
