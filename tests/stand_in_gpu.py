"""A stand-in for a GPU: tensors that lie in the machine's memory and say that they do not.

What PyTorch refuses with a GPU is refused here: tensors of both devices in one operation, and NumPy on what is on the GPU. What it
computes is what the CPU computes, so that results can be compared to the last digit.
"""
import safetensors.torch, torch
from torch.utils._device import _device_constructors

GPU = torch.device('cuda', 0)
FACTORIES = [f for f in _device_constructors() if getattr(torch, f.__name__, None) is f]   # listed before anything is replaced: PyTorch does it once
FACTORIES += [torch.empty_like, torch.zeros_like, torch.ones_like, torch.full_like, torch.rand_like, torch.randn_like]
MIXED = 'Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!'
NO_SCALARS = {'cat', 'concat', 'concatenate', 'stack', 'hstack', 'vstack', 'matmul', '__matmul__', 'mm', 'bmm', 'addmm', 'baddbmm'}   # elsewhere a CPU's scalar may stand beside a GPU's tensor


def tensors(x):
    "All tensors in arguments or results, however nested."
    if isinstance(x, torch.Tensor): return [x]
    if isinstance(x, dict): x = list(x.values())
    return [t for y in x for t in tensors(y)] if isinstance(x, (tuple, list)) and not isinstance(x, torch.Size) else []


def on_gpu(x):
    "Results, their tensors on the stand-in."
    if isinstance(x, torch.Tensor): return x if isinstance(x, GpuTensor) else x.as_subclass(GpuTensor)
    if type(x) in (tuple, list) or type(x).__module__ == 'torch.return_types': return type(x)([on_gpu(y) for y in x])
    return x


def is_gpu(device): return device is not None and not isinstance(device, torch.Tensor) and torch.device(device).type == 'cuda'


def moved(x, gpu):
    "A copy on the other device, or the tensor itself if it is there."
    if isinstance(x, GpuTensor) == gpu: return x
    with torch._C.DisableTorchFunctionSubclass(): x = x.clone() if gpu else x.as_subclass(torch.Tensor).clone()   # never the same memory
    return on_gpu(x) if gpu else x


def refuse_index(x, index):
    "What is on the CPU is not indexed by what is on the GPU."
    if not isinstance(x, GpuTensor) and any(isinstance(t, GpuTensor) for t in tensors([index])):
        raise RuntimeError('indices should be either on cpu or on the same device as the indexed tensor (cpu)')


def refuse_mixed(name, args, kwargs):
    "What PyTorch refuses: more than a scalar on the CPU beside a tensor on the GPU."
    if name in ('copy_', '_has_compatible_shallow_copy_type'): return
    if name == '__getitem__': return refuse_index(*args)
    if name in ('index_put', 'index_put_'): args = (args[0], *args[2:])
    if name == '__setitem__':
        refuse_index(*args[:2])
        parts = args[1] if isinstance(args[1], tuple) else (args[1],)
        if not any(isinstance(p, (torch.Tensor, list)) or hasattr(p, '__array__') for p in parts): return   # a slice is copied to, an index is not
        args = (args[0], args[2])
    there = tensors([args, kwargs])
    plain = [t for t in there if not isinstance(t, GpuTensor) and (t.dim() or name in NO_SCALARS)]
    if plain and len(plain) < len(there): raise RuntimeError(f'{MIXED} (in {name})')


class GpuTensor(torch.Tensor):
    "A tensor on the stand-in."
    device = property(lambda self: GPU)
    is_cuda, is_cpu = True, False

    def get_device(self): return 0
    def cpu(self, memory_format=None): return self.to('cpu')
    def numpy(self, *, force=False):
        if not force: raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.")
        return self.cpu().numpy()
    def __array__(self, dtype=None, copy=None): return self.numpy()

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = func.__name__
        refuse_mixed(name, args, kwargs)
        device = kwargs.pop('device', None)   # of x.new_zeros and its kind
        with torch._C.DisableTorchFunctionSubclass(): out = func(*args, **kwargs)
        if name == '__iter__': return iter([on_gpu(x) for x in out])
        here = not is_gpu(device) if device is not None else name == 'copy_' and not isinstance(args[0], GpuTensor)
        return out if here else on_gpu(out)


def factory(make):
    "torch.empty and its kind: on the stand-in if that is asked for, or if that is where the data are."
    def on_device(*args, device=None, **kw):
        data = args[0] if args and isinstance(args[0], torch.Tensor) else None
        kw.pop('pin_memory', None)   # needs a driver
        gpu = is_gpu(device) if device is not None else isinstance(data, GpuTensor)
        if data is None: out = make(*args, device='cpu' if gpu else device, **kw)
        else:
            with torch._C.DisableTorchFunctionSubclass(): out = make(moved(data, gpu), **kw)
        return on_gpu(out) if gpu else out
    return on_device


def to(self, *args, **kw):
    "torch.Tensor.to"
    copy = kw.pop('copy', False)
    if args and isinstance(args[0], torch.Tensor): device, dtype, memory_format = args[0].device, args[0].dtype, None
    else: device, dtype, _, memory_format = torch._C._nn._parse_to(*args, **kw)
    gpu = isinstance(self, GpuTensor) if device is None else device.type == 'cuda'
    x = moved(self, gpu)
    with torch._C.DisableTorchFunctionSubclass(): out = TO(x, device=None if gpu else device, dtype=dtype or x.dtype, copy=copy, memory_format=memory_format or torch.preserve_format)
    return on_gpu(out) if gpu else out


TO, LOAD = torch.Tensor.to, safetensors.torch.load_file


def stand_in(monkeypatch):
    "Until the test ends, there is one GPU."
    for f in FACTORIES: monkeypatch.setattr(torch, f.__name__, factory(f))
    monkeypatch.setattr(torch.Tensor, 'to', to)
    monkeypatch.setattr(torch.Tensor, 'cuda', lambda self, *a, **kw: self.to(GPU))
    monkeypatch.setattr(safetensors.torch, 'load_file', lambda path, device='cpu': {k: v.to(device) for k, v in LOAD(path).items()})   # it copies outside of Python
    monkeypatch.setattr(torch.__future__, '_overwrite_module_params_on_conversion', True)   # a module's parameters become others
    for name, answer in dict(is_available=True, device_count=1, get_device_name='a stand-in', max_memory_allocated=0, is_bf16_supported=True).items():
        monkeypatch.setattr(torch.cuda, name, lambda *a, answer=answer, **kw: answer)
