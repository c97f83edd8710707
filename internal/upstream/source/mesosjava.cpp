// The native side of org.apache.mesos.MesosSchedulerDriver, the class of the
// Java binding of Mesos, over the scheduler driver of libmesos 1.11.0. It is a
// test fixture: with it Spark's own dispatcher registers as it did in its day,
// through libmesos and libprocess.
//
// There are no Mesos headers here, as in the programs of internal/realmesos:
// messages cross the boundary in their serialised form, are made by the library's
// own constructors, and have the sizes that they have in this build of it.
//
// Left out is what Spark's dispatcher does not use: messages of the framework,
// requests for resources, operations on offers, credentials.

#include <jni.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <string>
#include <vector>

namespace mesos {

// Declared again with the same names, so that the compiler makes the same
// mangled names. Of the messages only the size matters.
#define MESSAGE(name, size)                \
  struct name {                            \
    name();                                \
    name(const name&);                     \
    ~name();                               \
    alignas(8) char bytes[size];           \
  }
MESSAGE(OfferID, 0x20);
MESSAGE(Offer, 0xa0);
MESSAGE(TaskInfo, 0xe0);
MESSAGE(TaskStatus, 0x88);
MESSAGE(FrameworkInfo, 0xe0);
MESSAGE(Filters, 0x20);
MESSAGE(TaskID, 0x20);
#undef MESSAGE
struct FrameworkID;
struct MasterInfo;
struct ExecutorID;
struct SlaveID;

class SchedulerDriver;

// scheduler.hpp, in its order of virtual functions.
class Scheduler {
 public:
  virtual ~Scheduler() {}
  virtual void registered(SchedulerDriver*, const FrameworkID&, const MasterInfo&) = 0;
  virtual void reregistered(SchedulerDriver*, const MasterInfo&) = 0;
  virtual void disconnected(SchedulerDriver*) = 0;
  virtual void resourceOffers(SchedulerDriver*, const std::vector<Offer>&) = 0;
  virtual void offerRescinded(SchedulerDriver*, const OfferID&) = 0;
  virtual void statusUpdate(SchedulerDriver*, const TaskStatus&) = 0;
  virtual void frameworkMessage(SchedulerDriver*, const ExecutorID&, const SlaveID&, const std::string&) = 0;
  virtual void slaveLost(SchedulerDriver*, const SlaveID&) = 0;
  virtual void executorLost(SchedulerDriver*, const ExecutorID&, const SlaveID&, int) = 0;
  virtual void error(SchedulerDriver*, const std::string&) = 0;
};

class MesosSchedulerDriver {
 public:
  MesosSchedulerDriver(Scheduler*, const FrameworkInfo&, const std::string& master, bool implicitAcks);
  int start();
  int stop(bool failover);
  int abort();
  int join();
  int launchTasks(const std::vector<OfferID>&, const std::vector<TaskInfo>&, const Filters&);
  int killTask(const TaskID&);
  int declineOffer(const OfferID&, const Filters&);
  int reviveOffers();
  int suppressOffers();
  int acknowledgeStatusUpdate(const TaskStatus&);
  int reconcileTasks(const std::vector<TaskStatus>&);
  alignas(64) char bytes[4096];
};

}  // namespace mesos

using namespace mesos;

extern "C" {
// google::protobuf::MessageLite
bool parse(void* message, const void* data, int size)
  asm("_ZN6google8protobuf11MessageLite14ParseFromArrayEPKvi");
std::string serialize(const void* message)
  asm("_ZNK6google8protobuf11MessageLite17SerializeAsStringB5cxx11Ev");
}

static JavaVM* jvm;

// Java objects ---------------------------------------------------------------

static std::string bytesOf(JNIEnv* env, jobject message) {
  jclass c = env->GetObjectClass(message);
  jmethodID m = env->GetMethodID(c, "toByteArray", "()[B");
  jbyteArray array = (jbyteArray)env->CallObjectMethod(message, m);
  std::string out(env->GetArrayLength(array), 0);
  env->GetByteArrayRegion(array, 0, out.size(), (jbyte*)&out[0]);
  return out;
}

template <typename T>
static void read(JNIEnv* env, jobject message, T* out) {
  std::string raw = bytesOf(env, message);
  if (!parse(out, raw.data(), raw.size())) abort();
}

template <typename T>
static std::vector<T> readAll(JNIEnv* env, jobject collection) {
  jclass c = env->GetObjectClass(collection);
  jobjectArray all = (jobjectArray)env->CallObjectMethod(
      collection, env->GetMethodID(c, "toArray", "()[Ljava/lang/Object;"));
  std::vector<T> out(env->GetArrayLength(all));
  for (size_t i = 0; i < out.size(); i++)
    read(env, env->GetObjectArrayElement(all, i), &out[i]);
  return out;
}

// Threads of libmesos do not know the class loader of the program, so what they
// need is looked up through a class that Java handed over.
static jobject loader;
static jmethodID loadClass;

static jclass classOf(JNIEnv* env, const char* name) {
  jstring text = env->NewStringUTF(name);
  return (jclass)env->CallObjectMethod(loader, loadClass, text);
}

static jobject write(JNIEnv* env, const char* type, const void* message) {
  std::string raw = serialize(message);
  jbyteArray array = env->NewByteArray(raw.size());
  env->SetByteArrayRegion(array, 0, raw.size(), (const jbyte*)raw.data());
  jclass c = classOf(env, (std::string("org.apache.mesos.Protos$") + type).c_str());
  jmethodID m = env->GetStaticMethodID(
      c, "parseFrom", (std::string("([B)Lorg/apache/mesos/Protos$") + type + ";").c_str());
  return env->CallStaticObjectMethod(c, m, array);
}

static jobject status(JNIEnv* env, int value) {
  jclass c = classOf(env, "org.apache.mesos.Protos$Status");
  jmethodID m = env->GetStaticMethodID(c, "valueOf", "(I)Lorg/apache/mesos/Protos$Status;");
  return env->CallStaticObjectMethod(c, m, value);
}

// The scheduler ---------------------------------------------------------------

// JavaScheduler calls the org.apache.mesos.Scheduler of a driver.
class JavaScheduler : public Scheduler {
 public:
  JavaScheduler(JNIEnv* env, jobject driver) : driver_(env->NewWeakGlobalRef(driver)) {}

  void registered(SchedulerDriver*, const FrameworkID& id, const MasterInfo& master) override {
    Call c(this);
    c("registered", "(Lorg/apache/mesos/SchedulerDriver;Lorg/apache/mesos/Protos$FrameworkID;Lorg/apache/mesos/Protos$MasterInfo;)V",
      write(c.env, "FrameworkID", &id), write(c.env, "MasterInfo", &master));
  }
  void reregistered(SchedulerDriver*, const MasterInfo& master) override {
    Call c(this);
    c("reregistered", "(Lorg/apache/mesos/SchedulerDriver;Lorg/apache/mesos/Protos$MasterInfo;)V",
      write(c.env, "MasterInfo", &master));
  }
  void disconnected(SchedulerDriver*) override {
    Call c(this);
    c("disconnected", "(Lorg/apache/mesos/SchedulerDriver;)V");
  }
  void resourceOffers(SchedulerDriver*, const std::vector<Offer>& offers) override {
    Call c(this);
    jclass list = c.env->FindClass("java/util/ArrayList");
    jobject all = c.env->NewObject(list, c.env->GetMethodID(list, "<init>", "()V"));
    jmethodID add = c.env->GetMethodID(list, "add", "(Ljava/lang/Object;)Z");
    for (const Offer& o : offers)
      c.env->CallBooleanMethod(all, add, write(c.env, "Offer", &o));
    c("resourceOffers", "(Lorg/apache/mesos/SchedulerDriver;Ljava/util/List;)V", all);
  }
  void offerRescinded(SchedulerDriver*, const OfferID& id) override {
    Call c(this);
    c("offerRescinded", "(Lorg/apache/mesos/SchedulerDriver;Lorg/apache/mesos/Protos$OfferID;)V",
      write(c.env, "OfferID", &id));
  }
  void statusUpdate(SchedulerDriver*, const TaskStatus& s) override {
    Call c(this);
    c("statusUpdate", "(Lorg/apache/mesos/SchedulerDriver;Lorg/apache/mesos/Protos$TaskStatus;)V",
      write(c.env, "TaskStatus", &s));
  }
  void frameworkMessage(SchedulerDriver*, const ExecutorID&, const SlaveID&, const std::string&) override {}
  void slaveLost(SchedulerDriver*, const SlaveID& id) override {
    Call c(this);
    c("slaveLost", "(Lorg/apache/mesos/SchedulerDriver;Lorg/apache/mesos/Protos$SlaveID;)V",
      write(c.env, "SlaveID", &id));
  }
  void executorLost(SchedulerDriver*, const ExecutorID&, const SlaveID&, int) override {}
  void error(SchedulerDriver*, const std::string& message) override {
    Call c(this);
    c("error", "(Lorg/apache/mesos/SchedulerDriver;Ljava/lang/String;)V", c.env->NewStringUTF(message.c_str()));
  }

 private:
  // Call is one upcall, on whatever thread of libmesos.
  struct Call {
    explicit Call(JavaScheduler* s) {
      jvm->AttachCurrentThread((void**)&env, nullptr);
      env->PushLocalFrame(256);
      driver = env->NewLocalRef(s->driver_);
    }
    ~Call() {
      env->PopLocalFrame(nullptr);
      jvm->DetachCurrentThread();
    }
    template <typename... Args>
    void operator()(const char* name, const char* signature, Args... args) {
      jclass c = env->GetObjectClass(driver);
      jfieldID field = env->GetFieldID(c, "scheduler", "Lorg/apache/mesos/Scheduler;");
      jobject scheduler = env->GetObjectField(driver, field);
      jmethodID m = env->GetMethodID(env->GetObjectClass(scheduler), name, signature);
      if (m) env->CallVoidMethod(scheduler, m, driver, args...);
      if (env->ExceptionCheck()) {
        env->ExceptionDescribe();
        env->ExceptionClear();
      }
    }
    JNIEnv* env;
    jobject driver;
  };

  jweak driver_;
};

static MesosSchedulerDriver* driverOf(JNIEnv* env, jobject self) {
  jfieldID f = env->GetFieldID(env->GetObjectClass(self), "__driver", "J");
  return (MesosSchedulerDriver*)env->GetLongField(self, f);
}

#define NATIVE(type, name) extern "C" JNIEXPORT type JNICALL Java_org_apache_mesos_##name
#define DRIVER(name) NATIVE(jobject, MesosSchedulerDriver_##name)

NATIVE(jobject, MesosNativeLibrary__1version)(JNIEnv* env, jclass library) {
  jclass c = env->FindClass("org/apache/mesos/MesosNativeLibrary$Version");
  return env->NewObject(c, env->GetMethodID(c, "<init>", "(JJJ)V"), (jlong)1, (jlong)11, (jlong)0);
}

NATIVE(void, MesosSchedulerDriver_initialize)(JNIEnv* env, jobject self) {
  if (jvm == nullptr) env->GetJavaVM(&jvm);
  jclass c = env->GetObjectClass(self);
  if (loader == nullptr) {
    jclass classes = env->FindClass("java/lang/Class");
    jobject l = env->CallObjectMethod(c, env->GetMethodID(classes, "getClassLoader", "()Ljava/lang/ClassLoader;"));
    loadClass = env->GetMethodID(env->FindClass("java/lang/ClassLoader"), "loadClass", "(Ljava/lang/String;)Ljava/lang/Class;");
    loader = env->NewGlobalRef(l);
  }
  auto* framework = new FrameworkInfo();
  read(env, env->GetObjectField(self, env->GetFieldID(c, "framework", "Lorg/apache/mesos/Protos$FrameworkInfo;")), framework);
  jstring text = (jstring)env->GetObjectField(self, env->GetFieldID(c, "master", "Ljava/lang/String;"));
  const char* chars = env->GetStringUTFChars(text, nullptr);
  std::string master(chars);
  env->ReleaseStringUTFChars(text, chars);
  bool implicit = env->GetBooleanField(self, env->GetFieldID(c, "implicitAcknowledgements", "Z"));
  auto* driver = new MesosSchedulerDriver(new JavaScheduler(env, self), *framework, master, implicit);
  env->SetLongField(self, env->GetFieldID(c, "__driver", "J"), (jlong)driver);
}

NATIVE(void, MesosSchedulerDriver_finalize)(JNIEnv*, jobject) {}  // it lives as long as the process

DRIVER(start)(JNIEnv* env, jobject self) { return status(env, driverOf(env, self)->start()); }
DRIVER(stop)(JNIEnv* env, jobject self, jboolean failover) { return status(env, driverOf(env, self)->stop(failover)); }
DRIVER(abort)(JNIEnv* env, jobject self) { return status(env, driverOf(env, self)->abort()); }
DRIVER(join)(JNIEnv* env, jobject self) { return status(env, driverOf(env, self)->join()); }
DRIVER(reviveOffers)(JNIEnv* env, jobject self) { return status(env, driverOf(env, self)->reviveOffers()); }
DRIVER(suppressOffers)(JNIEnv* env, jobject self) { return status(env, driverOf(env, self)->suppressOffers()); }

DRIVER(launchTasks__Ljava_util_Collection_2Ljava_util_Collection_2Lorg_apache_mesos_Protos_00024Filters_2)
(JNIEnv* env, jobject self, jobject offers, jobject tasks, jobject filters) {
  Filters f;
  read(env, filters, &f);
  return status(env, driverOf(env, self)->launchTasks(readAll<OfferID>(env, offers), readAll<TaskInfo>(env, tasks), f));
}

DRIVER(declineOffer)(JNIEnv* env, jobject self, jobject offer, jobject filters) {
  OfferID id;
  Filters f;
  read(env, offer, &id);
  read(env, filters, &f);
  return status(env, driverOf(env, self)->declineOffer(id, f));
}

DRIVER(killTask)(JNIEnv* env, jobject self, jobject task) {
  TaskID id;
  read(env, task, &id);
  return status(env, driverOf(env, self)->killTask(id));
}

DRIVER(acknowledgeStatusUpdate)(JNIEnv* env, jobject self, jobject update) {
  TaskStatus s;
  read(env, update, &s);
  return status(env, driverOf(env, self)->acknowledgeStatusUpdate(s));
}

DRIVER(reconcileTasks)(JNIEnv* env, jobject self, jobject statuses) {
  return status(env, driverOf(env, self)->reconcileTasks(readAll<TaskStatus>(env, statuses)));
}
