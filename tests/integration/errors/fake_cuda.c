// A CUDA driver and compiler that do nothing, or fail as requested by environment variables.
#include <stdlib.h>
#include <string.h>

static int asked(const char* name, int usual) {
  const char* const text = getenv(name);
  return text ? atoi(text) : usual;
}

int cuInit(unsigned flags) { return asked("FAKE_INIT", 0); }
int cuDeviceGetCount(int* count) {
  *count = asked("FAKE_COUNT", 1);
  return 0;
}
int cuDeviceGet(int* device, int number) {
  *device = number;
  return 0;
}
int cuDeviceGetName(char* name, int length, int device) {
  strncpy(name, "GPU of a test", length);
  return 0;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  *value = attribute == 75 ? 9 : attribute == 76 ? 0 : 1 << 17;  // sm_90, shared memory
  return 0;
}
int cuDevicePrimaryCtxRetain(void** context, int device) { return 0; }
int cuCtxPushCurrent_v2(void* context) { return 0; }
int cuCtxPopCurrent_v2(void** context) { return 0; }
int cuMemAlloc_v2(unsigned long long* pointer, size_t bytes) {
  if (asked("FAKE_FULL", 0)) return 2;
  *pointer = (unsigned long long)calloc(1, bytes);
  return 0;
}
int cuMemFree_v2(unsigned long long pointer) {
  free((void*)pointer);
  return 0;
}
int cuMemcpyHtoD_v2(unsigned long long to, const void* from, size_t bytes) {
  memcpy((void*)to, from, bytes);
  return 0;
}
int cuMemcpyDtoH_v2(void* to, unsigned long long from, size_t bytes) {
  memcpy(to, (void*)from, bytes);
  return 0;
}
int cuMemAllocHost_v2(void** memory, size_t bytes) {
  *memory = malloc(bytes);
  return 0;
}
int cuMemFreeHost(void* memory) {
  free(memory);
  return 0;
}
int cuMemcpyHtoDAsync_v2(unsigned long long to, const void* from, size_t bytes, void* stream) {
  return cuMemcpyHtoD_v2(to, from, bytes);
}
int cuMemcpyDtoHAsync_v2(void* to, unsigned long long from, size_t bytes, void* stream) {
  return cuMemcpyDtoH_v2(to, from, bytes);
}
int cuEventCreate(void** event, unsigned flags) { return 0; }
int cuEventRecord(void* event, void* stream) { return 0; }
int cuEventSynchronize(void* event) { return 0; }
int cuEventDestroy_v2(void* event) { return 0; }
int cuMemsetD8Async(unsigned long long to, unsigned char value, size_t bytes, void* stream) {
  memset((void*)to, value, bytes);
  return 0;
}
int cuModuleLoadData(void** module, const void* binary) { return 0; }
int cuModuleUnload(void* module) { return 0; }
int cuModuleGetFunction(void** function, void* module, const char* name) { return 0; }
int cuFuncSetAttribute(void* function, int attribute, int value) { return 0; }
int cuLaunchKernel() { return 0; }
int cuGetErrorString(int result, const char** words) {
  *words = "an error of a test";
  return 0;
}

int nvrtcVersion(int* major, int* minor) {
  *major = 13;
  *minor = 0;
  return 0;
}
int nvrtcCreateProgram(void** program) { return 0; }
int nvrtcCompileProgram() { return asked("FAKE_COMPILE", 0); }
int nvrtcGetProgramLogSize(void* program, size_t* size) {
  *size = 0;
  return 0;
}
int nvrtcGetProgramLog(void* program, char* log) { return 0; }
int nvrtcGetCUBINSize(void* program, size_t* size) {
  *size = 8;
  return 0;
}
int nvrtcGetCUBIN(void* program, char* binary) {
  memset(binary, 0, 8);
  return 0;
}
int nvrtcDestroyProgram(void** program) { return 0; }
const char* nvrtcGetErrorString(int result) { return "an error of a test"; }
